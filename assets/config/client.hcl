# A client of the three servers of server.hcl.
datacenter     = "dc1"
bind_addr      = "172.20.20.13"
retry_join     = ["172.20.20.10", "172.20.20.11", "172.20.20.12"]
retry_interval = "5s"
