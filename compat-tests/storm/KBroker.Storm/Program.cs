using KBroker.Storm.Workers;

await WorkerHost.RunAsync();
return 0;
