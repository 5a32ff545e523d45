"""Methods of training: the tensors that each trains, and what optimizers keep of them."""
