"""What leaves the house: SavedModels, the proof that they run alone, and predictions made with them."""
