"""Neural-graphics frames on a GPU with a cluster for them."""
