"""A teacher's traces: which part of them is learnt, and how they are stored so that training needs no teacher."""
