"""The controllers' HTTP interface."""
