"""One frame around every request, in the order in which it is passed through.

`middleware` gives it its id and headers and sends it away when there is no room (`load_shedding`); `request_context` is
what is known of it and refuses what is malformed, `cors` says which pages may read the answer. A handler reads its
parameters strictly (`bodies`), and what it gives is one of the `responses`, a page one of the `templates`. Whatever it
raises is one of the `errors`, which `error_responses` tells in the words of the place.
"""
