"""A backbone's features of labelled samples, of its last layer or of each, computed once and kept."""
