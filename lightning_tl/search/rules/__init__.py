"""What is done with the nearest items before they are shown: diversity and boosts."""
