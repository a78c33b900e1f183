defmodule Palladion.Schema.AgreementTest do
  use ExUnit.Case, async: true

  alias Palladion.Schema.Agreement

  @old "4ffe620f-7c0a-33a3-b28f-8ac63cf6673c"
  @new "f10dbb1b-ce7f-319e-a775-eef07e94e80e"
  @one "36964b87-530b-4c0d-9719-cb1a73d92a00"
  @two "800b2538-a716-41f4-99c0-6900ae598d08"
  @three "0b54afc1-8d68-4a37-9b4e-6ad2d8db0b5b"

  defp local(version), do: [%{"host_id" => @one, "schema_version" => version}]
  defp peer(host_id, version), do: %{"host_id" => host_id, "schema_version" => version}

  describe "there is agreement" do
    test "on a node that is alone" do
      assert Agreement.agreed?(local(@new), [], [])
    end

    test "where all have one version" do
      assert Agreement.agreed?(local(@new), [peer(@two, @new), peer(@three, @new)], [])
      refute Agreement.agreed?(local(@new), [peer(@two, @new), peer(@three, @old)], [])
      refute Agreement.agreed?(local(@old), [peer(@two, @new), peer(@three, @new)], [])
    end

    test "without those that are down" do
      peers = [peer(@two, @new), peer(@three, @old)]
      assert Agreement.agreed?(local(@new), peers, MapSet.new([@three]))
      refute Agreement.agreed?(local(@new), peers, [@two])
      # The node asked is up, whatever is thought of it.
      refute Agreement.agreed?(local(@new), peers, [@one, @two])
    end

    test "without rows that nodes have left behind" do
      for left <- [
            peer(nil, @old),
            peer(@three, nil),
            %{"host_id" => nil, "schema_version" => nil},
            %{},
            Map.put(peer(@three, @old), "rpc_address", nil),
            Map.put(peer(@three, @old), "native_address", nil)
          ] do
        assert Agreement.agreed?(local(@new), [peer(@two, @new), left], [])
      end
    end

    test "with rows that have their addresses" do
      for column <- ["rpc_address", "native_address"] do
        row = Map.put(peer(@two, @old), column, {127, 0, 0, 2})
        refute Agreement.agreed?(local(@new), [row], [])
      end
    end

    test "never where the node asked has no version, or said nothing" do
      refute Agreement.agreed?(local(nil), [], [])
      refute Agreement.agreed?([], [], [])
    end
  end

  test "versions are counted" do
    peers = [peer(@two, @new), peer(@three, @old), peer(nil, @old)]
    assert Agreement.versions(local(@new), peers, []) == %{@new => 2, @old => 1}
    assert Agreement.versions(local(@new), peers, [@three]) == %{@new => 2}
    assert Agreement.versions(local(nil), [], []) == %{nil => 1}
  end

  describe "waiting" do
    test "asks until there is agreement" do
      answers = [
        {:error, :no_connection},
        {:ok, {local(@new), [peer(@two, @old)]}},
        {:ok, {local(@new), [peer(@two, @new)]}},
        :asked_too_often
      ]

      assert Agreement.wait(script(answers), &none_down/1, from_now(60_000), 1)
      assert asked() == 3
      assert Agreement.wait(script(answers), &none_down/1, :infinity, 1)
    end

    test "asks anew which nodes are down" do
      answer = {:ok, {local(@new), [peer(@two, @old), peer(nil, @old)]}}
      down = script([false, false, true])
      assert Agreement.wait(fn -> answer end, fn @two -> down.() end, from_now(60_000), 1)
      assert asked() == 3
    end

    test "asks once where there is no time" do
      disagreed = {:ok, {local(@new), [peer(@two, @old)]}}
      refute Agreement.wait(script([disagreed]), &none_down/1, from_now(-1), 1_000)
      agreed = {:ok, {local(@new), []}}
      assert Agreement.wait(script([agreed]), &none_down/1, from_now(-1), 1_000)
    end

    test "ends at the deadline, however long the interval is" do
      fetch = fn -> {:error, :no_connection} end
      refute Agreement.wait(fetch, &none_down/1, from_now(20), 3_600_000)
    end

    test "leaves the mailbox alone" do
      send(self(), :before)
      refute Agreement.wait(fn -> {:error, :closed} end, &none_down/1, from_now(5), 1)
      assert Process.info(self(), :messages) == {:messages, [:before]}
    end
  end

  defp none_down(_host_id), do: false
  defp from_now(ms), do: System.monotonic_time(:millisecond) + ms

  # Each call gives the next answer.
  defp script(answers) do
    Process.put(:asked, 0)

    fn ->
      asked = asked()
      Process.put(:asked, asked + 1)
      Enum.fetch!(answers, asked)
    end
  end

  defp asked, do: Process.get(:asked)
end
