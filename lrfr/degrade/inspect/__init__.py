"""Looking at what a recipe does: contact sheets and statistics."""
