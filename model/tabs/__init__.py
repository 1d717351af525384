"""The tabs of the page, one module each: components and events, no mathematics."""
