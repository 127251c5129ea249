cd /sys/fs/selinux; ls -la; cat mls policyvers enforce deny_unknown reject_unknown handle_unknown 2>&1; ls class/process/perms | head -50; grep -r . policy_capabilities; cat class/file/index; grep -r . class/file/perms | head; ls booleans | wc -l; ls -ld /run/lock /dev/shm /tmp /run; id -Z
cat /proc/self/attr/*; seinfo 2>&1 | head -3; cat /proc/sys/fs/protected_regular
python3 -c 'print(1)'
touch /tmp/x; setfattr -n security.selinux -v system_u:object_r:nonsense_t:s0 /tmp/x; chcon -t container_file_t -l s0:c1,c2 /tmp/x; ls -Z /tmp/x; chcon system_u:object_r:nonsense_t:s0 /tmp/x
ls /opt/fancyproc
for s in "system_u:system_r:container_t:s0:c1" "system_u:system_r:container_t:s0:c5.c5" "system_u:system_r:container_t:s0:c1.c3,c4" "system_u:system_r:container_t:s0:c1-s0:c1,c0" "system_u:system_r:container_t:s0:c2,c1,c1"; do node -e 'const fs=require("fs");try{const fd=fs.openSync("/sys/fs/selinux/context","r+");fs.writeSync(fd,process.argv[1]);const b=Buffer.alloc(4096);const n=fs.readSync(fd,b);console.log(process.argv[1],JSON.stringify(b.toString("utf8",0,n)))}catch(e){console.log(process.argv[1],e.message)}' $s; done
