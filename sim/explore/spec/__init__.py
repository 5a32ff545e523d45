"""A sweep's file, checked: what varies, what is asked for, how to search."""
