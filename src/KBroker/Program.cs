Console.Error.WriteLine("kbroker: the broker is not assembled yet");
return 1;
