"""The lifecycle as one resumable run over the rooms below."""
