"""Teacher traces: which part of them is learned, and how they are stored so that training does not need the teacher."""
