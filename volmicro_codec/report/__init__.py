"""What a person looks at: previews and the page that `vgm report` writes."""
