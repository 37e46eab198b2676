// Stands for lines in /etc/hosts: the cloud's names lead to this machine. Loaded before the program by --require.
'use strict';

const dns = require('node:dns');

const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(name.endsWith('.myhuaweicloud.com') ? '127.0.0.1' : name, ...rest);
