"""What a plan takes: time, deadline, cost, room. Pure: nothing is read, nothing is asked, no clock is looked at."""
