"""A gallery as one page: `library` reads what is known, `pictures` makes thumbnails, `page` writes it all down."""
