"""What the cloud account holds, how tightly it holds us, and what to do first. Pure: observations in, findings out."""
