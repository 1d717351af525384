"""Plotly figures from plain arrays, one module per tab."""
