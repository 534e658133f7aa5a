"""The fast lane: several processes that fetch plain objects over bare sockets. The rest is the careful lane's."""
