# A server on its own, that elects itself.
#   agent -config-file single.hcl
server    = true
bootstrap = true
data_dir  = "/var/lib/quorate"
