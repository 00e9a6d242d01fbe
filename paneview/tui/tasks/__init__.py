"""Tasks on the screen: their table, its order, what may be done to them, and why each is as it is."""
