"""What the singular values of unfoldings tell without a fit."""
