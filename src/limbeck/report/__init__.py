"""Reports: figures, tables and one self-contained HTML file, made from saved records only."""
