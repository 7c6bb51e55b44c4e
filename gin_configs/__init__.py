"""The shipped gin experiments; this file makes the folder package data of tf_frozen."""
