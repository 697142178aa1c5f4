"""The index that lies in a run's folder, by FAISS: kinds, tuning, exact counts behind filters, changes, files."""
