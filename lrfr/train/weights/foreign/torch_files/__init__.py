"""Files of torch.save, read without running them."""
