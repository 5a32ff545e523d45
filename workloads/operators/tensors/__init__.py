"""What operators read and write, tensor by tensor."""
