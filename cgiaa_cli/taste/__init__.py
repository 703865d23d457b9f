"""A user's own taste: a small head on cached embeddings and scores, learnt from the user's ratings."""
