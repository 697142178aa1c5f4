"""Raw inputs to numbers, without torch: image files and what their values mean. Training and serving read alike."""
