"""Where earlier versions had the index, which is in `lightning_tl.search.faiss_index`; old paths lead there."""
