"""What changes beside inputs: shares of classes (label shift), and how labels follow from inputs, in time (drift)."""
