defmodule Palladion.Doctor.NetworkTest do
  use ExUnit.Case, async: true

  alias Palladion.Doctor.Network

  test "a name has addresses, an address is its own" do
    assert {:ok, addresses} = Network.resolve("localhost", 5_000)
    assert Enum.any?(addresses, &(&1 in ["127.0.0.1", "::1"]))
    assert Network.resolve("10.1.2.3", 5_000) == {:ok, ["10.1.2.3"]}
    assert Network.resolve("2001:db8::7", 5_000) == {:ok, ["2001:db8::7"]}
    assert {:error, reason} = Network.resolve("no-such-host.invalid", 5_000)
    assert is_atom(reason)
  end

  test "a port is open or not" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    assert Network.dial("127.0.0.1", port, 5_000) == :ok
    :gen_tcp.close(listener)
    assert Network.dial("127.0.0.1", port, 5_000) == {:error, :econnrefused}
  end
end
