"""Providers: one seam (`base.Provider`), one module per wire format."""
