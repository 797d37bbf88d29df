"""The commands. Results go to standard output; progress and errors go to standard error."""
