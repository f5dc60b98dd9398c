"""One module per transport behind one contract."""
