defmodule Palladion.Integration.CompressionOfferedTest do
  @moduledoc "What becomes of a compression that a server does not offer."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.ConnectionError
  alias Palladion.Test.Testkit

  @moduletag :capture_log

  for {offered, asked} <- [{[], :lz4}, {["snappy"], :lz4}, {["lz4"], :snappy}, {[], :snappy}] do
    test "#{asked} is refused where #{inspect(offered)} is offered" do
      offered = unquote(offered)
      asked = unquote(asked)
      server = Testkit.start_server(tls: false, compression: offered)
      name = start_cluster!(server, protocol: [compression: asked])

      error = eventually("it has tried", fn -> refusal(name) end)
      asked = to_string(asked)

      assert {:unsupported_compression, %{compression: ^asked, offered: ^offered}} =
               error.details.last_error

      assert Exception.message(error) =~ "asked for #{inspect(asked)}"
      # And nothing was begun with it.
      assert Enum.all?(Testkit.connections(server), &(&1.startup == %{}))
    end
  end

  defp refusal(name) do
    case Palladion.await_ready(name, 50) do
      {:error, %ConnectionError{details: %{last_error: {_reason, _details}}} = error} -> error
      {:error, %ConnectionError{}} -> nil
    end
  end

  test "what is offered is spoken" do
    for {compression, version} <- [lz4: 5, snappy: 4] do
      server = Testkit.start_server(tls: false, compression: [compression])
      name = ready_cluster!(server, protocol: [compression: compression])
      assert %{rows: [%{"id" => 1}]} = Palladion.query!(name, "SELECT echo(id int)", [1])
      {:ok, status} = Palladion.status(name)
      assert status.control.compression == to_string(compression)
      assert status.control.protocol_version == version
    end
  end
end
