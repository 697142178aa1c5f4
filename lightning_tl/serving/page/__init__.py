"""The page for people: HTML, CSS and JavaScript that are sent as they lie here."""
