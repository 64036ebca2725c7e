"""Commands over pair stores."""
