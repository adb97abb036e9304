"""What is computed: a model's shape, its layers and where its weights come from.

Importing this package imports no torch, so the API process can read shapes and vocabularies.
"""
