"""One folder for each library; its files are imported under the library's own names."""
