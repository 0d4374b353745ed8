"""The JSON that the endpoints of all contenders take and give."""

__all__ = ["PERSON"]

PERSON = (
    b'{"id":7,"name":"Ada Lovelace","email":"ada@example.com",'
    b'"tags":["poet","engine","notes"],'
    b'"address":{"street":"12 St James\'s Square","city":"London","zip":"SW1Y 4JH"}}'
)
