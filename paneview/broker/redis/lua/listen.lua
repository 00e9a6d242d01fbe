-- ARGV: a waiter's name, ids of jobs whose end it waits for.
for i = 2, #ARGV do
  redis.call('SADD', B .. 'ears:' .. ARGV[i], ARGV[1])
  redis.call('PEXPIRE', B .. 'ears:' .. ARGV[i], 3600000)
end
return 1
