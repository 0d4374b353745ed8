"""Services: typed handlers behind HTTP. Endpoints are declared here and hosted here."""
