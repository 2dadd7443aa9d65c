"""What functions are asked, as typed models: a module for each function, which imports no other's."""
