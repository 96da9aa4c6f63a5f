"""What is measured on codes and on what is decoded from them: arrays go in, numbers come out."""
