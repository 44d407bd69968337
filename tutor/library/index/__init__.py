"""Search over a library's file: BM25, sentence vectors, their fusion, filters.

passages  ids, years, categories         words   bm25s, and what came since
embedding texts to vectors               stored  vectors in SQLite
matrix    exact search, memory-mapped    chroma  approximate search
fusion    one ranking of two           late    a second look at its top
hybrid    all of it together: `LibraryIndex`
"""
