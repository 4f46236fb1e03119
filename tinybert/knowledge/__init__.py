"""What of a teacher's knowledge is learnt, and how it is stored so that training needs no teacher."""
