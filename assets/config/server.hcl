# One server of a datacenter with three: the same file on all of them.
#   agent -config-file server.hcl -bind ADDRESS
server           = true
bootstrap_expect = 3
datacenter       = "dc1"
data_dir         = "/var/lib/quorate"
retry_join       = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
retry_interval   = "5s"
log_level        = "INFO"
