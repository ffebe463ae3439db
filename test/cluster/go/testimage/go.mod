module ips/test/cluster/testimage

go 1.26.0
